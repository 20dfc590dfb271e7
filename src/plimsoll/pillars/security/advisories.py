"""Known flaws of what a GPU node runs, with the version that mends them.

From NVIDIA's product security bulletins and the projects' advisories as of AS_OF. What came later is not here.
"""

from __future__ import annotations

from typing import NamedTuple

Version = tuple[int, ...]
AS_OF = "2026-08-21"


class Flaw(NamedTuple):
    """One advisory.

    score: CVSS base, None where the advisory states none. what: its effect in a few words.
    cdi: False where only nodes without the Container Device Interface have it, None where that does not matter.
    cdi_until: up to (not including) this version only nodes with CDI have it.
    """

    cve: str
    score: float | None
    fixed: Version
    what: str
    cdi: bool | None = None
    cdi_until: Version = ()


TOOLKIT = (
    Flaw("CVE-2024-0132", 9.0, (1, 16, 2), "an image can reach the host's files", cdi=False),
    Flaw("CVE-2024-0134", 4.1, (1, 17), "an image can make files on the host"),
    Flaw("CVE-2024-0135", 7.6, (1, 17, 1), "an image can change files of the host"),
    Flaw("CVE-2025-23359", 8.3, (1, 17, 4), "an image can reach the host's files", cdi=False),
    Flaw("CVE-2025-23266", 9.0, (1, 17, 8), "an image can run code as root on the host", cdi_until=(1, 17, 5)),
    Flaw("CVE-2025-23267", 8.5, (1, 17, 8), "an image can overwrite host files through links", cdi_until=(1, 17, 5)),
    Flaw("CVE-2026-24260", 8.5, (1, 19, 1), "an image can win a race for the host's files"),
)
EXPORTER = (Flaw("CVE-2026-47483", 8.2, (4, 8, 2), "anybody who reaches its port can stop it or read its memory"),)
VLLM = (
    Flaw("CVE-2025-32444", 10.0, (0, 8, 5), "remote code execution"),
    Flaw("CVE-2025-66448", None, (0, 11, 1), "a model's config runs code"),
    Flaw("CVE-2026-22778", 9.8, (0, 14, 1), "a video runs code"),
    Flaw("CVE-2026-27893", None, (0, 18), "a model runs code without trust-remote-code"),
    Flaw("CVE-2026-48746", 9.1, (0, 22), "a Host header bypasses the API key"),
    Flaw("CVE-2026-53923", None, (0, 24), "GGUF models leak another user's GPU memory"),
)
TRITON = (
    Flaw("CVE-2026-24207", 9.8, (26, 3), "authentication can be bypassed"),
    Flaw("CVE-2026-47627", 9.8, (26, 6), "path traversal"),
)
# bulletin 5821 of May 2026, the newest: first mended build of each branch it lists; others get no more fixes
DRIVER: dict[int, Version] = {535: (535, 309, 1), 580: (580, 159, 3), 595: (595, 71, 5)}
DRIVER_WORST = "CVE-2026-24187 (8.8, use after free) and ten more"


def open_flaws(flaws: tuple[Flaw, ...], running: Version, *, cdi: bool | None = None) -> list[Flaw]:
    """The flaws a version still has, worst first. `cdi`: whether CDI is on; None where that is unknown."""
    found = [
        each
        for each in flaws
        if running < each.fixed
        and not (each.cdi is False and cdi is True)
        and not (running < each.cdi_until and cdi is False)
    ]
    return sorted(found, key=lambda each: (-(each.score or 0), each.fixed))


def say(numbers: Version) -> str:
    return ".".join(map(str, numbers))


def list_flaws(found: list[Flaw]) -> str:
    """Flaws as a clause: the worst with its effect, the others by number."""
    first, rest = found[0], found[1:]
    score = f"{first.score}, " if first.score is not None else ""
    more = f" and {', '.join(each.cve for each in rest)}" if rest else ""
    return f"{first.cve} ({score}{first.what}){more}"
