"""What the models of all importers share: the network so far, the rules of layers, the walk."""
