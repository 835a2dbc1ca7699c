"""Arrays in, numbers out: OKS AP, PCK, NME and the protocols that name them."""
