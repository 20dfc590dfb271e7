"""Words for titles and remedies: numbers with their nouns, messages that are too long, a drain."""

from __future__ import annotations


def many(number: int, noun: str, one: str = "", more: str = "") -> str:
    """A number with its noun and what that does, singular or plural: `1 node`, `3 nodes`, `1 node lacks`.

    one, more: the verb of one and of several.
    """
    verb = one if number == 1 else more
    return f"{number} {noun}{'' if number == 1 else 's'}{' ' if verb else ''}{verb}"


def brief(said: str, most: int) -> str:
    """A message on one line in at most `most` characters, cut after a word where it is longer."""
    line = " ".join(said.split())
    if len(line) <= most:
        return line
    head = line[: most - 1]
    word = head.rfind(" ")
    return (head[:word] if word > most // 2 else head).rstrip(" ,;:({[") + "…"


def drain(node: str, what: str = "its pods") -> str:
    """The command that empties a node, saying what that costs. Its caller says when to uncordon the node.

    what: the pods that end, in words.
    """
    return f"kubectl drain {node} --ignore-daemonsets --delete-emptydir-data   # evicts {what}; emptyDir data is lost"
