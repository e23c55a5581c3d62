//! chunk_file
