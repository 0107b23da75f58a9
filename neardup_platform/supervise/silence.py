"""How long runs and the worker have been silent, by the clock of the one that listens. Pure.

Signs of life from another machine carry the time of its clock, which may be minutes off. So only whether a sign has
changed counts, and silence is what the listener has witnessed itself: while it did not listen, no silence passed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of a run: its last sign, and how long it has not changed, in seconds."""

    sign: int
    silent_s: float


@dataclass(frozen=True, slots=True)
class Listening:
    """What was heard of each run, by its id, and when the listener listened last, in Unix seconds."""

    at_s: float = 0.0
    runs: Mapping[str, Heard] = field(default_factory=dict)

    def after(self, signs: Mapping[str, int], now_s: float, most_s: float) -> "Listening":
        """The same after listening again; runs without a sign are dropped.

        Args:
            most_s: the most that one look adds to a silence. A listener that was stopped for an hour has not heard an
                hour of silence.
        """
        passed_s = min(max(now_s - self.at_s, 0.0), most_s)
        heard = {
            run_id: Heard(sign, before.silent_s + passed_s if before and before.sign == sign else 0.0)
            for run_id, sign in signs.items()
            for before in [self.runs.get(run_id)]
        }
        return Listening(now_s, heard)

    def to_json(self) -> str:
        """For the cursor of a sensor."""
        return json.dumps({"at_s": self.at_s, "runs": {key: [h.sign, h.silent_s] for key, h in self.runs.items()}})

    @classmethod
    def from_json(cls, text: str | None) -> "Listening":
        """What `to_json` wrote; from nothing, or from anything else, as if listening for the first time."""
        try:
            raw = json.loads(text or "")
            return cls(float(raw["at_s"]), {key: Heard(int(h[0]), float(h[1])) for key, h in raw["runs"].items()})
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return cls()
