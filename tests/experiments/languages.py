"""Texts in several scripts, and what a user might write to segment and annotate them."""

from __future__ import annotations

import re
from collections.abc import Iterator

CHINESE = (
    "清晨的北京很安静。老人们在公园里打太极拳,孩子们背着书包去学校。李明在北京大学学习历史,每天骑自行车上课。"
    "他的朋友玛丽来自法国巴黎,汉语说得很流利。周末他们一起去长城,看到了许多外国游客。"
    "二〇〇八年的夏天,北京举办了奥林匹克运动会。回到家以后,他把这一天写在日记里:“今天真高兴!”"
)
MIXED = (
    "Alan Turing 在 1936 年发表了论文。東京タワーは一九五八年に完成した。"
    "وُلِدَ ابن سينا في قرية أفشنة. She said café, naïve and Zürich. ประเทศไทย हिन्दी 한국어."
)
EMOJI = "国旗🇨🇳🇩🇪🇫🇷和家庭👩‍👩‍👧‍👦很好👍🏽,心❤️‍🔥。 The flag 🏴󠁧󠁢󠁥󠁮󠁧󠁿 waves 👋🏿!"
TEXTS = (CHINESE, MIXED, EMOJI)

WORDS = ("北京大学", "北京", "公园", "太极拳", "孩子们", "书包", "学校", "自行车", "朋友", "奥林匹克运动会")
PARTS = re.compile("|".join(WORDS) + r"|\s+|\w|[^\w\s]")
PLACES = re.compile("北京大学|北京|法国巴黎|长城|Alan Turing|東京タワー")
NAMES = re.compile("李明|玛丽|老人们")


def words(text: str) -> list[str]:
    """By a small dictionary, else character by character."""
    return PARTS.findall(text)


def annotate(text: str) -> Iterator[tuple[int, int, str]]:
    """Places as entities and persons as phrases, as a spaCy pipeline's `ents` and `noun_chunks` would be."""
    for kind, pattern in (("entity", PLACES), ("phrase", NAMES)):
        for found in pattern.finditer(text):
            yield found.start(), found.end(), kind


def without_spaces(text: str) -> list[str]:
    return text.split()


def numbers(text: str) -> list[int]:
    return [1, 2]


def nothing(text: str) -> None:
    return None


def beyond(text: str) -> list[tuple[int, int, str]]:
    return [(0, len(text) + 1, "entity")]


def empty(text: str) -> list[tuple[int, int, str]]:
    return [(2, 2, "entity")]


def overlapping(text: str) -> list[tuple[int, int, str]]:
    return [(0, 3, "phrase"), (2, 4, "phrase")]


def person(text: str) -> list[tuple[int, int, str]]:
    return [(0, 1, "person")]


def reals(text: str) -> list[tuple[float, int, str]]:
    return [(0.0, 1, "entity")]


def pairs(text: str) -> list[tuple[int, int]]:
    return [(0, 1)]


NO_FUNCTION = "jieba"
