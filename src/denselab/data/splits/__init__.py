"""Who trains and who is held out: lists and tables that say it, and splits that are drawn."""
