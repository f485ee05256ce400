import pytest
from running import Workdir


@pytest.fixture
def workdir(tmp_path):
    return Workdir(tmp_path)
