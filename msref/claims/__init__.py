"""The claims of the papers as experiments that anybody can run."""

from msref.claims.base import Claim, Job, Paper, Setting, Table
from msref.claims.durnn import DURNN_PAPERS
from msref.claims.lmn import LMN_PAPERS
from msref.claims.mslmn import MSLMN_PAPERS
from msref.claims.run import reproduce
from msref.claims.warmup import WARMUP_PAPER

__all__ = ["PAPERS", "Claim", "Job", "Paper", "Setting", "Table", "reproduce"]

PAPERS: dict[str, Paper] = {
    paper.name: paper
    for paper in (LMN_PAPERS, MSLMN_PAPERS, DURNN_PAPERS, WARMUP_PAPER)
}
"""Short name -> paper, in reading order."""
