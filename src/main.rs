//! Arguments in, exit code out.

use std::process::ExitCode;

// Measured against glibc's allocator: a gateway allocates small and frees soon, and mimalloc is faster at it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    countersign::cli::entry::main()
}
