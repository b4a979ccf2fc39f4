"""Parts shared by the models of all importers: the network so far, rules of layers, the walk."""
