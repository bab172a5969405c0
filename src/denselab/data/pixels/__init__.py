"""Picture files to arrays, as their own tags and headers say: whole, by rows, and with other bands than RGB."""
