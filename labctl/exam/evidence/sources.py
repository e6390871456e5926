"""A frozen candidate of a session to the Material of their work: what lies where on this host."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

from labctl.errors import Refused
from labctl.exam.audit import Act, Entry, Step, line_of, read_entries
from labctl.exam.evidence.material import KeptDisk, Machine, Material
from labctl.exam.evidence.store import read_whole
from labctl.exam.load import Paper
from labctl.exam.recette import Moment, results_file
from labctl.exam.session import Session
from labctl.exam.standing import CandidateStanding, Frozen
from labctl.golden import golden_folder
from labctl.images.overlay import chain
from labctl.lab.checkpoint import own_domains
from labctl.lab.frozen import Frozen as FrozenLab
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.plan.model import NetworkKind, Plan
from labctl.topology.variants import Value

FLOWS, START = "flows", "start"  # in the session's folder


def flows_files(session: Path, owner: str, layout: Plan) -> dict[str, tuple[Path, str]]:
    """Return where the flows of a lab's networks of the kind `internet` are counted, with the bridge of each."""
    nat = [one for one in layout.networks if one.kind is NetworkKind.INTERNET]
    return {one.member: (session / FLOWS / f"{owner}.{one.member}.json", one.bridge) for one in nat}


def start_file(session: Path, owner: str, node: str) -> Path:
    """Return where the configuration of a machine before the work is kept."""
    return session / START / owner / f"{node}.json.gz"


def find_freeze(candidate: CandidateStanding) -> Entry:
    """Return the end of the last freeze. Raises Refused where a candidate's work is not frozen as a whole."""
    done = [entry for entry in candidate.entries(Act.FREEZE) if entry.step is Step.DONE]
    if candidate.frozen is not Frozen.YES or not done:
        text = _("the work of the candidate {number} is not frozen: there is nothing to collect yet")
        raise Refused(text.format(number=candidate.number), hint="labctl exam freeze")
    return done[-1]


def find_material(
    place: Workplace,
    session: Session,
    candidate: CandidateStanding,
    paper: Paper,
    drawn: Mapping[str, Mapping[str, Value]],
) -> Material:
    """Return what there is of a candidate's work; `paper` has their values, `drawn` those of all by number.

    Raises Refused where it is not frozen.
    """
    frozen = find_freeze(candidate)
    copy = session.folder / str(frozen.facts.get("folder", ""))
    layout = place.layout(candidate.lab, paper.topology)
    seen = own_domains(place, candidate.lab)
    tags = [one.tag for one in seen.values() if one.tag]
    nodes, kept = [node.member for node in layout.nodes], FrozenLab("", "", copy)
    starts = {node: start_file(session.folder, candidate.owner, node) for node in nodes}
    flows = flows_files(session.folder, candidate.owner, layout) if paper.exam.evidence.flows else {}
    return Material(
        number=candidate.number,
        folder=choose_folder(session, candidate, copy.name),
        lab=candidate.lab,
        golden=next((tag.golden for tag in tags if tag.golden), ""),
        machines=tuple(
            Machine(
                node=node.member, name=node.name, seat=layout.seat,
                disks=tuple(KeptDisk(disk, own_base(place, disk)) for disk in kept.disks(node)),
                console=layout.folders.serial_log(node.member),
                paths=tuple(paper.exam.evidence.paths.get(node.member, ())),
                system=node.system, board=find_board(kept, node.member),
            )
            for node in layout.nodes
        ),
        copy=copy.name,
        history=tuple(
            {"at": one.at, "who": one.who, "what": one.what, "detail": one.detail}
            for one in place.store.events(candidate.lab)
        ),
        log=b"".join(own_lines(session.audit, candidate.number)),
        values=plain_values(drawn.get(candidate.number, {})),
        drawn=drawn,
        resets=sum(entry.step in {Step.DONE, Step.NOTED} for entry in candidate.entries(Act.RESET)),
        results=find_results(session, candidate),
        start={node: path for node, path in starts.items() if path.exists()},
        flows={network: path for network, (path, _bridge) in flows.items()},
        screenshots=paper.exam.evidence.screenshots,
    )  # fmt: skip


def find_board(copy: FrozenLab, node: str) -> dict[str, Path]:
    """Return the frozen files of what the board of a machine remembers: its firmware's variables, its TPM's state."""
    files = {f"{node}.nvram.fd": copy.nvram(node), f"{node}.tpm.permall": copy.tpm(node)}
    return {name: path for name, path in files.items() if path.exists()}


def choose_folder(session: Session, candidate: CandidateStanding, copy: str) -> str:
    """Return the name of the folder of evidence: another one for work that went on after it was collected once."""
    whole = read_whole(session.folder / "evidence" / candidate.owner, candidate.number)
    again = whole is not None and whole.facts.get("frozen_copy", copy) != copy
    return f"{candidate.owner}.{copy}" if again else candidate.owner


def has_results(candidate: CandidateStanding) -> bool:
    """Return whether the recette was run since the work was frozen last."""
    run = candidate.last.get(Act.RECETTE)
    return run is not None and run.seq > find_freeze(candidate).seq


def find_results(session: Session, candidate: CandidateStanding) -> dict[str, Path]:
    """Return the results that count: those of before the work, and those of what was frozen last."""
    found = {Moment.START: True, Moment.END: has_results(candidate)}
    return {str(one): results_file(session.folder, candidate.owner, one) for one in Moment if found[one]}


def own_base(place: Workplace, disk: Path) -> tuple[Path, ...]:
    """Return the files that a frozen disk stands on. Raises Refused where one is not of this installation.

    Its header was written by this host, and not by the machine; a path that leads elsewhere is not followed.
    """
    files = chain(disk)[1:]
    for path in files:
        if golden_folder(place) not in path.parents and place.home / "images" not in path.parents:
            text = _('the disk "{path}" stands on "{base}", which is no disk of a golden lab')
            raise Refused(text.format(path=disk, base=path), hint=f"ls -l {disk}")
    return files


def own_lines(audit: Path, number: str) -> Iterator[bytes]:
    """Yield the lines of the log that are about a candidate, as they stand there."""
    yield from (line_of(entry) for entry in read_entries(audit) if entry.candidate == number)


def plain_values(values: Mapping[str, Value]) -> dict[str, JsonValue]:
    """Return drawn values as JSON."""
    return {name: value if isinstance(value, int | str) else str(value) for name, value in values.items()}
