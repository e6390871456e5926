"""Where tests with real guests keep their images between runs; never where a class runs."""

import os
from pathlib import Path

TEST_HOME = Path(os.environ.get("LABCTL_TEST_HOME", "/var/lib/labctl-test"))
