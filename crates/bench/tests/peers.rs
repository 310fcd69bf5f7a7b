//! openmls and mls-rs with one another: what fails here is the fault of our wrappers, and not of dmls.

use std::error::Error;

use dmls_bench::{Config, MlsRsPeer, OpenMlsPeer, Peer, scenario};

/// Whose turn it is to be made, in the order of the peers; the first creates the group.
#[derive(Clone, Copy, Debug)]
enum Library {
    OpenMls,
    MlsRs,
}
use Library::{MlsRs, OpenMls};

fn peer(library: Library, config: Config) -> Result<Box<dyn Peer>, Box<dyn Error>> {
    Ok(match library {
        OpenMls => Box::new(OpenMlsPeer::new(config)?),
        MlsRs => Box::new(MlsRsPeer::new(config)?),
    })
}

/// The scenario with each library as the creator, with and without a path in Commits of Adds.
fn interop(cipher_suite: u16, private_handshake: bool) -> Result<(), Box<dyn Error>> {
    for mix in [[OpenMls, MlsRs, MlsRs, OpenMls, MlsRs], [MlsRs, OpenMls, OpenMls, MlsRs, OpenMls]] {
        for path_on_add in [true, false] {
            let mut peers = Vec::new();
            for (library, name) in mix.into_iter().zip(["alice", "bob", "carol", "dave", "erin"]) {
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

/// The `wire_format` of an MLSMessage (RFC 9420 s6): 1 is PublicMessage, 2 PrivateMessage.
fn wire_format(message: &[u8]) -> &[u8] {
    &message[2..4]
}

#[test]
fn handshake_messages_are_in_the_format_that_was_asked_for() -> Result<(), Box<dyn Error>> {
    for library in [OpenMls, MlsRs] {
        for (private_handshake, expected) in [(false, [0, 1]), (true, [0, 2])] {
            let config = |name: &str| Config { private_handshake, ..Config::new(1, name) };
            let (mut alice, mut bob) = (peer(library, config("alice"))?, peer(library, config("bob"))?);
            alice.create_group(b"format")?;
            assert_eq!(wire_format(&alice.update()?.commit), expected, "{library:?}: a Commit");
            assert_eq!(wire_format(&alice.propose_update()?), expected, "{library:?}: a proposal");
            assert_eq!(
                wire_format(&bob.join_external(&alice.group_info()?)?),
                [0, 1],
                "{library:?}: an external Commit"
            );
            assert_eq!(wire_format(&bob.send(b"text")?), [0, 2], "{library:?}: application data");
        }
    }
    Ok(())
}

#[test]
fn the_path_of_an_add_is_left_out_when_that_was_asked_for() -> Result<(), Box<dyn Error>> {
    for library in [OpenMls, MlsRs] {
        let length = |path_on_add| -> Result<usize, Box<dyn Error>> {
            let config = |name: &str| Config { path_on_add, ..Config::new(1, name) };
            let (mut alice, mut bob) = (peer(library, config("alice"))?, peer(library, config("bob"))?);
            alice.create_group(b"path")?;
            Ok(alice.add(&[bob.key_package()?])?.commit.len())
        };
        assert!(length(true)? > length(false)? + 64, "{library:?}: a path has at least a LeafNode");
    }
    Ok(())
}

/// The scenario's own test: openmls refuses a PublicMessage where it expects PrivateMessages.
#[test]
fn a_failure_names_the_step() -> Result<(), Box<dyn Error>> {
    let mut peers = Vec::new();
    for (name, private_handshake) in [("alice", false), ("bob", true), ("carol", true)] {
        peers.push(peer(OpenMls, Config { private_handshake, ..Config::new(1, name) })?);
    }
    let failure = scenario::run(peers, b"mixed").unwrap_err().to_string();
    assert!(failure.starts_with("alice (openmls) processes what bob (openmls) sent: "), "{failure}");
    Ok(())
}
