"""The operations of AWS IoT's control plane, by what they are about; `control` joins them."""
