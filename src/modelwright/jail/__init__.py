"""A process that may run a stranger's code -> the same process, held: what it gives up, it gives up for good.

Linux only. What is truly in force is reported by the process itself, never assumed.
"""

from modelwright.jail.confinement import Confinement, Held, require
from modelwright.jail.detection import available
from modelwright.jail.entry import enter
from modelwright.jail.parent import environment, tie_to_parent

__all__ = ["Confinement", "Held", "available", "enter", "environment", "require", "tie_to_parent"]
