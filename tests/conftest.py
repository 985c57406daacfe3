import tempfile

import pytest


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory):
    """Whatever a test makes by `tempfile` lies in pytest's own folder and goes with it."""
    tempfile.tempdir = str(tmp_path_factory.mktemp("temporary"))
    yield
    tempfile.tempdir = None
