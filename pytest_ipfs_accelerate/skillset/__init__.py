"""The worker/skillset interface: ``hf_<type>`` classes made in memory, and the check of those that people ship."""

from .classes import skill_class
from .skill import Opened, Skill

__all__ = ["Opened", "Skill", "skill_class"]
