"""What a result says of the software it was made with."""

from importlib import metadata

from medinr.jobs import record


def test_a_missing_package_is_said_and_loses_nothing(monkeypatch):
    real = metadata.version

    def without_itk(name):
        if name == "SimpleITK":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", without_itk)
    found = record.versions()
    assert found["SimpleITK"] == "not installed"
    assert found["torch"] == real("torch")
