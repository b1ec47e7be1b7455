"""The check of skill classes that people ship: found without an import, loaded as a worker loads them, and held against what
they say of themselves."""
