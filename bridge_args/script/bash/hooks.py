"""What bash itself does not know: programs that start other shells, and the job a script runs in.

Whoever reads scripts hands this in (``script/read.py``); nothing else of this package knows a program that is not
bash's own or one of the usual utilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from bridge_args.records import Record

if TYPE_CHECKING:
    from bridge_args.script.bash.traced import Traced

Inside: TypeAlias = "Callable[[Any, Any, Sequence[Traced], int], tuple[bool, int | None]]"


def _nothing_inside(shell: object, state: object, words: Sequence[Traced], at: int) -> tuple[bool, int | None]:
    return False, None


class Hooks(Record):
    """The defaults know nothing.

    Attributes:
        inside: reads what a program starts, given the shell, its state for that program, the words and their place;
            returns whether it was read, and the exit status.
        is_elsewhere: do these words start something where neither files nor folders of this shell are?
        job_variables: what the job's system sets because of lines of a script and of options; None where it is no job.
        is_of_job: does the job's system set a variable of this name?
    """

    inside: Inside = _nothing_inside
    is_elsewhere: Callable[[Sequence[Traced]], bool] = lambda words: False
    job_variables: Callable[[str, Sequence[str]], Mapping[str, str] | None] = lambda text, options: None
    is_of_job: Callable[[str], bool] = lambda name: False
