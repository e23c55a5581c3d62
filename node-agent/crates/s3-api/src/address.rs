//! Path style and virtual-host style: which bucket and key a request addresses.
