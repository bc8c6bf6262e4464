"""Pretrained models: checkpoints, cards, and those that ship."""
