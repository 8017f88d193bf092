"""Bridges to the games of other packages, one file each."""
