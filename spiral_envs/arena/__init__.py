"""Judging: who is stronger, by how much, and how sure that is.

`spiral-arena run` plays a tournament into a folder and `spiral-arena report` makes ratings, tables and a page of it.
"""
