//! dmls with openmls and mls-rs, in one group: each creates, adds, updates, proposes, removes, joins from outside
//! and speaks, and after every commit all agree.

use std::error::Error;

use dmls::Provider;
use dmls_bench::{Config, DmlsPeer, MlsRsPeer, OpenMlsPeer, Peer, scenario};

/// Whose turn it is to be made, in the order of the peers; the first creates the group.
#[derive(Clone, Copy, Debug)]
enum Library {
    /// With aws-lc-rs.
    Dmls,
    /// With RustCrypto.
    DmlsRust,
    OpenMls,
    MlsRs,
}
use Library::{Dmls, DmlsRust, MlsRs, OpenMls};

/// Each library creates once, and follows each other one.
const MIXES: [[Library; 4]; 4] = [
    [Dmls, OpenMls, MlsRs, DmlsRust],
    [OpenMls, Dmls, MlsRs, DmlsRust],
    [MlsRs, DmlsRust, OpenMls, Dmls],
    [DmlsRust, MlsRs, Dmls, OpenMls],
];

fn peer(library: Library, config: Config) -> Result<Box<dyn Peer>, Box<dyn Error>> {
    Ok(match library {
        Dmls => Box::new(DmlsPeer::new(config, Provider::aws_lc())?),
        DmlsRust => Box::new(DmlsPeer::new(config, Provider::rust_crypto())?),
        OpenMls => Box::new(OpenMlsPeer::new(config)?),
        MlsRs => Box::new(MlsRsPeer::new(config)?),
    })
}

/// The scenario with each library as the creator, with and without a path in Commits of Adds.
fn interop(cipher_suite: u16, private_handshake: bool) -> Result<(), Box<dyn Error>> {
    for mix in MIXES {
        for path_on_add in [true, false] {
            let mut peers = Vec::new();
            for (library, name) in mix.into_iter().zip(["alice", "bob", "carol", "dave"]) {
                let config = Config { private_handshake, path_on_add, ..Config::new(cipher_suite, name) };
                peers.push(peer(library, config)?);
            }
            scenario::run(peers, b"interop")
                .map_err(|failure| format!("{mix:?}, path on add: {path_on_add}: {failure:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn suite_1_public() -> Result<(), Box<dyn Error>> {
    interop(1, false)
}

#[test]
fn suite_1_private() -> Result<(), Box<dyn Error>> {
    interop(1, true)
}

#[test]
fn suite_2_public() -> Result<(), Box<dyn Error>> {
    interop(2, false)
}

#[test]
fn suite_2_private() -> Result<(), Box<dyn Error>> {
    interop(2, true)
}

#[test]
fn suite_3_public() -> Result<(), Box<dyn Error>> {
    interop(3, false)
}

#[test]
fn suite_3_private() -> Result<(), Box<dyn Error>> {
    interop(3, true)
}
