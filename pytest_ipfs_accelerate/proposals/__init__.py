"""Where rows of the registry come from: rules that read the installed transformers and propose, for each model type, an exact
tiny config and inputs. A run never comes here; ``python -m pytest_ipfs_accelerate.registry sync`` does.
"""
