"""One answer of a run in words."""

from __future__ import annotations


class Answer(str):
    """An answer as one line. `figure` is its short form, and `more` what else there is to say: they fit a tile."""

    figure: str
    more: str

    def __new__(cls, figure: str, more: str, line: str) -> Answer:
        """Returns the line with its parts."""
        answer = super().__new__(cls, line)
        answer.figure, answer.more = figure, more
        return answer


def joined(figure: str, between: str, more: str) -> Answer:
    """Returns an answer whose line is the short form, and what else there is to say."""
    return Answer(figure, more, f"{figure}{between}{more}")
