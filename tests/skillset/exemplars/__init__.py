"""Skill classes as people write them: right ones, and for each way of being wrong one that is wrong in that way alone."""
