"""Folders and files of this machine: reached without following links, locked, written durably."""
