"""Errors.

Every message states what was given, what was expected and what to do. The command line turns `InputError` and its
children into exit code 2 and any other exception into exit code 1.
"""

from __future__ import annotations


class MedinrError(Exception):
    """Base of all errors raised on purpose by medinr (exit code 1 unless it is an `InputError`)."""


class InputError(MedinrError):
    """Something the user gave cannot be used: a file, a value, a combination (exit code 2)."""


class FileError(InputError):
    """A file or folder is missing, empty, truncated or not of the kind that its name claims."""


class GeometryError(InputError):
    """Positions, orientations or spacings are missing, contradictory or do not fit together."""


class IntensityError(InputError):
    """Voxel values cannot be used: NaN, infinite, all zero."""


class ShapeError(InputError):
    """A tensor has another shape or kind than the operator, network or volume declares."""


class UnitError(InputError):
    """A quantity has another unit or modality than the step needs."""


class ConfigError(InputError):
    """A configuration has an unknown key or a value outside its range."""


class CheckpointError(InputError):
    """A model or training checkpoint is missing, damaged or does not fit the scan."""


class ManifestError(InputError):
    """A manifest is malformed, or a row does not match the file it names."""


class LeakageError(InputError):
    """A scan to be evaluated was among the model's training scans."""


class LibraryError(InputError):
    """An optional library that a step needs is not installed."""


class OutputExistsError(InputError):
    """The output exists already and would be overwritten."""
