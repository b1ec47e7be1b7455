"""The worker/skillset interface: ``hf_<type>`` classes made in memory, and the check of those that people ship."""
