"""Models of other tools: nnU-Net's folders, MONAI's bundles, TorchScript networks. What they need is loaded when one is used."""
