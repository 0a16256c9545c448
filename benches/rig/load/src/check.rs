//! One careful request before measuring: does the proxy answer at all, with a certificate that `--ca` vouches for?

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::h1;
use crate::options::Options;
use crate::tally::Tally;
use crate::tls;
use crate::upstream::Upstream;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Prints the answer, head and body. An answer other than 200 is an error.
pub fn check(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(port) = options.spin {
        let mut upstream = Upstream::listen(&[port])?;
        std::thread::spawn(move || {
            loop {
                upstream.step(-1);
            }
        });
    }
    let ca = options.ca.as_deref().ok_or("--mode check needs --ca")?;
    let config = tls::verifying_config(options, ca)?;
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, options.port))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let mut stream = StreamOwned::new(
        ClientConnection::new(config, tls::server_name(&options.host)?)?,
        socket,
    );
    stream.write_all(&h1::requests(options).concat())?;
    let (mut reader, mut tally) = (h1::Reader::default(), Tally::default());
    let mut answer = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        let length = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..length]);
        if length == 0 || reader.read(&buffer[..length], &mut tally) {
            break;
        }
    }
    println!("{}", String::from_utf8_lossy(&answer));
    match answer.starts_with(b"HTTP/1.1 200") {
        true => Ok(()),
        false => Err("the answer was not 200".into()),
    }
}
