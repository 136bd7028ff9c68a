"""What a recurrent network does over time: gradients, fixed points, attractors.

Everything here is measured in float64, where the parameters live. The
networks' own passes do the work; nothing is differentiated by machine.
"""

from msref.dynamics.attractors import (
    Attractors,
    Multistability,
    explore,
    multistability,
)
from msref.dynamics.fixed_points import FixedPoint, fixed_points
from msref.dynamics.jacobian import jacobian
from msref.dynamics.multistability import clusters, vaa, vaa_star
from msref.dynamics.reach import Reach, gradient_bound, gradient_reach
from msref.dynamics.stabilising import Start, stabilise
from msref.dynamics.states import joined, period, separated, slices

__all__ = [
    "Attractors",
    "FixedPoint",
    "Multistability",
    "Reach",
    "Start",
    "clusters",
    "explore",
    "fixed_points",
    "gradient_bound",
    "gradient_reach",
    "jacobian",
    "joined",
    "multistability",
    "period",
    "separated",
    "slices",
    "stabilise",
    "vaa",
    "vaa_star",
]
