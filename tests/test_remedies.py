"""What a remedy says can be typed: every line is a comment or a command that a shell and its program take.

Judged are the remedy of every check, and that of every finding on the fail fixtures and on the recordings.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from plimsoll.check.run import Judgement, review
from plimsoll.check.words import brief, many
from plimsoll.kube.store import open_snapshot
from plimsoll.pillars import all_checks
from plimsoll.report.view import as_shell, remedy
from plimsoll.spec.load import from_mapping
from tests import world

TESTS = Path(__file__).parent
LAB = TESTS.parent / "examples" / "lab"
CHECKS = {each.id: each for each in all_checks()}

_ROLLOUT, _SET = {"restart", "status", "history", "undo"}, {"env", "resources", "image", "serviceaccount"}
KUBECTL = {
    *("get", "describe", "logs", "edit", "delete", "label", "annotate", "taint", "drain", "cordon", "uncordon"),
    *("patch", "apply", "create", "rollout", "scale", "set", "exec", "top", "explain", "auth", "debug"),
    *("api-resources", "api-versions", "cluster-info", "version", "wait", "config", "replace", "autoscale"),
}
HELM = {"get", "install", "list", "upgrade", "uninstall", "repo", "show", "history", "rollback", "status", "template"}
PLIMSOLL = {"check", "capture", "explain", "init", "schema"}
CRANE = {"digest", "ls", "copy", "manifest"}
OTHERS = {"grep", "tail", "head", "tr", "sort", "less", "uniq", "wc"}  # after a pipe
NAMESPACE, CHART = re.compile(r"(-n|--namespace)[ =]"), re.compile(r"[a-z0-9-]+/[a-z0-9-]+|oci://\S+")
_KINDS = "|".join((
    "clusterqueue", "cohort", "configmap", "cronjob", "daemonset", "deploy", "deployment", "ds", "hpa", "job",
    "localqueue", "networkpolicy", "node", "pdb", "pod", "resourceflavor", "scaledobject", "service", "servicemonitor",
    "statefulset", "svc", "workload",
))  # fmt: skip
NAMELESS = re.compile(rf"kubectl (-n \S+ )?(edit|delete|patch|scale) ({_KINDS})( -n \S+)?$")


def statements(line: str) -> list[list[str]]:
    """The words of each command of a line, as a shell splits them; ValueError where a quote is left open."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    found: list[list[str]] = [[]]
    for word in lexer:
        if word in (";", "|", "&&", "||"):
            found.append([])
        else:
            found[-1].append(word)
    return found


def bare(line: str) -> str:
    """A line without what is quoted and without its comment: what the shell itself would read."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "_", line).partition(" #")[0]


PROSE = {"an", "and", "if", "its", "of", "or", "that", "the", "then", "where", "with", "when", "…", "..."}


def faults(text: str, *, names_known: bool) -> Iterator[str]:
    """What is wrong with a remedy as it is shown."""
    whole = text.replace("\\\n", " ")
    for line in whole.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        naked = bare(line)
        if not names_known:
            naked = re.sub(r"<[a-z][a-z -]*>", "NAME", naked)
        for mark in sorted(set("*?[]{}<>\\`…").intersection(naked)):
            yield f"unquoted {mark}: {line}"
        try:
            commands = statements(re.sub(r"<[a-z][a-z -]*>", "NAME", line))
        except ValueError as error:
            yield f"{error}: {line}"
            continue
        for index, words in enumerate(commands):
            yield from _command(words, line, first=index == 0)
        if names_known and re.search(r"\b(NAME|NAMESPACE|NODE|QUEUE|POD|KEY|LAYOUT)\b(?!:)|<[a-z]", naked):
            yield f"a name is left out: {line}"


def _command(words: list[str], line: str, *, first: bool) -> Iterator[str]:
    program, rest = (words[0], words[1:]) if words else ("", [])
    if told := PROSE.intersection(rest):
        yield f"prose ({', '.join(sorted(told))}) in a command: {line}"
    if any(word.endswith(",") and word != "," for word in rest):
        yield f"a sentence, not a command: {line}"
    if program == "kubectl":
        while rest and rest[0] in ("-n", "--namespace"):
            rest = rest[2:]
        verb = rest[0] if rest else ""
        if verb not in KUBECTL:
            yield f"kubectl knows no {verb!r}: {line}"
        if verb == "rollout" and rest[1:2] and rest[1] not in _ROLLOUT:
            yield f"kubectl rollout knows no {rest[1]!r}: {line}"
        if verb == "set" and rest[1:2] and rest[1] not in _SET:
            yield f"kubectl set knows no {rest[1]!r}: {line}"
        if verb in ("get", "describe") and ("-A" in rest or "--all-namespaces" in rest):
            named = [word for word in rest[1:] if not word.startswith("-")]
            if len(named) > 1 and not any(word in rest for word in ("-o", "-l", "-L", "--field-selector", "--sort-by")):
                yield f"a name cannot be looked up in all namespaces: {line}"
        if NAMELESS.match(" ".join(words)):
            yield f"which one?: {line}"
        if verb == "drain" and not {"--ignore-daemonsets", "--delete-emptydir-data"} <= set(rest):
            yield f"a drain stops at DaemonSets and at emptyDir volumes: {line}"
        if (
            verb == "logs"
            and "--all-containers" in rest
            and "--previous" in rest
            and "--ignore-errors=true" not in rest
        ):
            yield f"stops at the first container that never restarted: {line}"
    elif program == "helm":
        if not rest or rest[0] not in HELM:
            yield f"helm knows no {rest[:1]}: {line}"
        elif rest[0] in ("upgrade", "install"):
            if not any(CHART.fullmatch(word) for word in rest):
                yield f"names no chart: {line}"
            if rest[0] == "upgrade" and "--reset-then-reuse-values" not in rest and "--install" not in rest:
                yield f"loses the values of the release: {line}"
            if not NAMESPACE.search(line):
                yield f"names no namespace: {line}"
    elif program == "plimsoll":
        if not rest or rest[0] not in PLIMSOLL:
            yield f"plimsoll knows no {rest[:1]}: {line}"
    elif program == "crane":
        if not rest or rest[0] not in CRANE:
            yield f"crane knows no {rest[:1]}: {line}"
    elif first or program not in OTHERS:
        yield f"no program of ours: {program!r} in {line}"


@pytest.mark.parametrize("id", CHECKS)
def test_the_remedy_of_a_check_can_be_typed(id: str) -> None:
    assert not list(faults(as_shell(CHECKS[id].remedy), names_known=False))


def _judged(path: Path) -> tuple[Judgement, ...]:
    fixture = world.load(path)
    platform = from_mapping(fixture["platform"]) if "platform" in fixture else None
    return review(world.snapshot(fixture), [CHECKS[path.parent.name]], platform=platform).judgements


@cache
def findings() -> dict[str, tuple[str, str]]:
    """(remedy as shown, title) of every finding we have, by where it comes from."""
    found: dict[str, Judgement] = {}
    for path in sorted((TESTS / "checks").glob("*/fail*.yaml")):
        found |= {f"{path.parent.name}/{path.stem}/{n}": each for n, each in enumerate(_judged(path))}
    for path in sorted(LAB.glob("*.json.gz")):
        answer = review(open_snapshot(path), all_checks())
        found |= {f"{path.stem}/{each.check.id}/{n}": each for n, each in enumerate(answer.judgements)}
    return {key: (remedy(each), each.finding.title) for key, each in found.items() if each.verdict.value == "fail"}


def test_the_remedy_of_a_finding_can_be_typed() -> None:
    wrong = {key: said for key, (text, _) in findings().items() if (said := list(faults(text, names_known=True)))}
    assert not wrong, "\n".join(f"{key}: {each}" for key, said in wrong.items() for each in said)


_PLURAL = (
    r"(nodes|pods|replicas|restarts|minutes|times|workloads|GPUs|devices|ResourceClaims|queues|operands|jobs|versions)"
)
ONE = re.compile(rf"(?<!of )(?<![\w.:/×-])1 ((?!of\b)\w+ )?{_PLURAL}\b")


def test_titles_count_in_words() -> None:
    wrong = {key: title for key, (_, title) in findings().items() if ONE.search(title) or "…" in title[:40]}
    assert not wrong


def test_a_long_message_is_cut_after_a_word() -> None:
    assert brief("one two three", 20) == "one two three"
    assert brief("one  two\nthree four", 15) == "one two three…"
    assert brief("abcdefghijklmnop", 8) == "abcdefg…"
    assert many(1, "node", "lacks", "lack") == "1 node lacks"
    assert many(2, "node", "lacks", "lack") == "2 nodes lack"


@pytest.mark.parametrize(
    "line",
    [
        "kubectl apply a NetworkPolicy with an empty podSelector",
        "kubectl edit scaledobject",
        "kubectl get svc vllm -A",
        "kubectl get nodes -o custom-columns=GPU:.status.allocatable.nvidia\\.com/gpu",
        "kubectl drain h100-0 --ignore-daemonsets, reboot",
        "kubectl create serviceaccount; spec.serviceAccountName",
        "kubectl -n a logs p --all-containers --previous",
        "helm upgrade keda --set a=b",
        "helm upgrade gpu-operator nvidia/gpu-operator -n gpu-operator --set a=b",
        "helm upgrade with driver.kernelModuleType=auto",
        "kubectl label node <node> a=b",
        "kubectl describe 'pod",
        "lsmod",
    ],
)
def test_what_cannot_be_typed_is_found(line: str) -> None:
    assert list(faults(line, names_known=True))
