"""The folder of a session to what its documents are made from: papers, drawn values, results, checksums, names."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from labctl.errors import LabctlError
from labctl.exam.documents.making import Maker, Own
from labctl.exam.documents.person import Names
from labctl.exam.documents.proctor import Checksums
from labctl.exam.documents.recette import Proof
from labctl.exam.load import PaperTemplate, read_paper
from labctl.exam.session import Session
from labctl.exam.signing import fingerprint, public_pem
from labctl.exam.standing import CandidateStanding
from labctl.language import _
from labctl.topology.catalogue import Catalogue
from labctl.topology.model import Topology

EXAM, NAMES, MANIFEST = "exam.yml", "names.json", "manifest.json"


@dataclass(frozen=True)
class FolderMaterial:
    """What is in the folder of a session."""

    session: Session
    home: Path
    catalogue: Catalogue
