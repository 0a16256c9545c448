//! The upstream alone, sleeping between events: `upstream PORT [PORT…]`. For trying a gateway's configuration by hand.

use load::upstream::Upstream;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::io::Result<()> {
    let ports: Vec<u16> = std::env::args()
        .skip(1)
        .filter_map(|port| port.parse().ok())
        .collect();
    if ports.is_empty() {
        eprintln!("usage: upstream PORT [PORT…]");
        std::process::exit(2);
    }
    load::sys::ignore_sigpipe();
    load::sys::raise_fd_limit();
    let mut upstream = Upstream::listen(&ports)?;
    loop {
        upstream.step(-1);
    }
}
