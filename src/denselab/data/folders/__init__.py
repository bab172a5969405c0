"""Folders of pictures and labels under any names: how they pair, and what is asked where they pair in several ways."""
