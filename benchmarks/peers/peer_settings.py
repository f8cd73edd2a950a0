"""Settings of Django for a peer and its workers, from the environment."""

from __future__ import annotations

import json
import os

globals().update(json.loads(os.environ["PEER_SETTINGS"]))
