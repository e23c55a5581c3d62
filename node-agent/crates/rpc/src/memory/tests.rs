use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{ErrorCode, NodeId};

use super::MemoryNet;
use crate::{
    Body, CALL_BYTES_MAX, Caller, Fate, Method, NetworkExt, RpcError, Service, Services, collect, once,
};

const ECHO: Method = Method::control("/echo/loud");
const DEADLINE: Duration = Duration::from_millis(50);

struct Echo;

impl Service for Echo {
    fn answer(&self, caller: Caller, method: &str, body: Body) -> BoxFuture<'static, Result<Body, RpcError>> {
        let method = method.to_owned();
        async move {
            let said = collect(body, CALL_BYTES_MAX).await?;
            Ok(once(Bytes::from([caller.node.as_bytes(), method.as_bytes(), &said].concat())))
        }
        .boxed()
    }
}

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

#[tokio::test]
async fn calls_reach_the_other_node_until_the_link_is_cut() {
    let net = MemoryNet::default();
    let services = Services::default();
    services.add("echo", Arc::new(Echo));
    let one = net.join(node(1), Services::default());
    let two = net.join(node(2), services);

    let answer = one.call(node(2), ECHO, Bytes::from_static(b"!"), DEADLINE).await.unwrap();
    assert_eq!(answer, Bytes::from([node(1).as_bytes().as_slice(), b"loud!"].concat()));

    let unknown = two.call(node(1), ECHO, Bytes::new(), DEADLINE).await.unwrap_err();
    assert_eq!((unknown.code, unknown.fate), (ErrorCode::Unavailable, Fate::Refused));

    net.isolate(&[node(2)]);
    let cut = one.call(node(2), ECHO, Bytes::new(), DEADLINE).await.unwrap_err();
    assert_eq!(cut.fate, Fate::Unknown);
    net.heal();
    assert!(one.call(node(2), ECHO, Bytes::new(), DEADLINE).await.is_ok());
    net.leave(node(2));
    assert!(one.call(node(2), ECHO, Bytes::new(), DEADLINE).await.is_err());
}

#[tokio::test]
async fn strangers_reach_open_services_alone() {
    let services = Services::default();
    services.add("members", Arc::new(Echo));
    services.add_open("door", Arc::new(Echo));
    let stranger = Caller {
        node: node(9),
        public_key: Vec::new(),
        member: false,
        address: ([127, 0, 0, 1], 1).into(),
        exporter: [0; 32],
    };
    let refused = services.answer(stranger.clone(), "/members/any", crate::empty()).await.err();
    assert_eq!(refused.map(|error| error.code), Some(ErrorCode::AccessDenied));
    assert!(services.answer(stranger, "/door/any", crate::empty()).await.is_ok());
}
