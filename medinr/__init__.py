"""Shared-trunk coordinate networks that reconstruct CT and MR scans."""
