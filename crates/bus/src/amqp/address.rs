//! Reads the broker's address.

use lapin::uri::{AMQPScheme, AMQPUri};

use crate::error::{BusError, Result};
use crate::settings::Settings;

/// The address in the settings, with what it leaves open. No error quotes it, as it has a password in it.
pub(super) fn read(settings: &Settings) -> Result<AMQPUri> {
    let mut uri: AMQPUri = settings.url.parse().map_err(|_| {
        BusError::Settings(
            "the broker's address cannot be read: it is amqp://user:password@host:port/virtual-host, \
             with special characters in user, password and virtual host written as %XX"
                .into(),
        )
    })?;
    if uri.scheme == AMQPScheme::AMQPS && !cfg!(feature = "tls") {
        return Err(BusError::Settings(
            "the broker's address begins with amqps://, and this muster was built without TLS to the broker: build it with the \
             feature muster-bus/tls, or use amqp:// within a network that you trust"
                .into(),
        ));
    }
    // A slash with nothing after it names the virtual host of the empty name, which nobody means.
    if uri.vhost.is_empty() {
        uri.vhost = "/".into();
    }
    let seconds = u16::try_from(settings.heartbeat.as_secs()).unwrap_or(u16::MAX).max(1);
    uri.query.heartbeat.get_or_insert(seconds);
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_its_gaps_filled() {
        let read = |url: &str| read(&Settings::new(url)).unwrap();
        for url in ["amqp://u:p@h:5673", "amqp://u:p@h:5673/", "amqp://u:p@h:5673/%2f"] {
            let uri = read(url);
            assert_eq!((uri.vhost.as_str(), uri.authority.port), ("/", 5673), "{url}");
            assert_eq!(uri.query.heartbeat, Some(10));
        }
        assert_eq!(read("amqp://u:p@h/acme?heartbeat=3").query.heartbeat, Some(3));
    }

    #[test]
    fn an_encrypted_connection_is_made_or_said_to_be_left_out_but_never_a_plain_one_in_its_place() {
        match read(&Settings::new("amqps://u:geheim@h")) {
            Ok(uri) => assert!(cfg!(feature = "tls") && uri.scheme == AMQPScheme::AMQPS && uri.authority.port == 5671),
            Err(why) => assert!(why.to_string().contains("without TLS") && !why.to_string().contains("geheim")),
        }
    }

    #[test]
    fn an_address_that_cannot_be_read_is_not_quoted() {
        for url in ["", "geheim", "http://u:geheim@h", "amqp://u:geheim@h:99999", "amqp://u:geheim@h:x"] {
            let settings = Settings::new(url);
            let why = read(&settings).unwrap_err().to_string();
            assert!(!why.contains("geheim"), "{why}");
            assert!(!format!("{settings:?}").contains("geheim"));
        }
    }
}
