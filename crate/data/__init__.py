"""Data sets, how their images are prepared, and the loader; `facts` alone imports no torch."""
