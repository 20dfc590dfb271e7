"""What a GPU is: the SKU catalogue, MIG profiles and where they may be placed, a dated price book.

model       Sku, Geometry, Profile: the nouns
mig         geometries of the MIG-capable GPUs, profile and resource names, generated configs
catalogue   the SKUs; from a name, a node's labels or an instance type to a Sku
placement   does a layout fit on one GPU, and where
prices      what an hour of a GPU was listed at, where and when
"""
