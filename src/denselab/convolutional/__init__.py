"""Any classifier as a convolution over pictures of any size (FCN, section 3.1)."""
