//! The lifecycle of RabbitMQ: start, alarms, pause, kill, restart with its data, cleanup.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use devstack::RabbitMq;

use crate::footprint::{Footprint, assert_refused};
use crate::wait::UNRESPONSIVE_AFTER;

/// True if the node responds to the AMQP protocol header before the timeout.
fn responds(addr: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(UNRESPONSIVE_AFTER)).unwrap();
    stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
    let mut first = [0];
    stream
        .read(&mut first)
        .is_ok_and(|n| n == 1 && first == [1])
}

async fn eval(rabbitmq: &RabbitMq, erlang: &str) -> String {
    rabbitmq
        .ctl(&["eval", erlang])
        .await
        .unwrap()
        .trim()
        .to_owned()
}

async fn alarms(rabbitmq: &RabbitMq) -> String {
    eval(rabbitmq, "rabbit_alarm:get_alarms().").await
}

/// Declares a durable quorum queue and returns its type.
const DECLARE: &str = r#"
    rabbit_amqqueue:declare(rabbit_misc:r(<<"/">>, queue, <<"kept">>), true, false,
        [{<<"x-queue-type">>, longstr, <<"quorum">>}], none, <<"test">>),
    {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"kept">>)),
    amqqueue:get_type(Q)."#;

#[tokio::test]
async fn queues_survive_a_kill_and_alarms_can_be_raised() {
    let rabbitmq = RabbitMq::start().await.unwrap();
    assert!(responds(rabbitmq.addr()));
    rabbitmq
        .ctl(&["authenticate_user", RabbitMq::USER, RabbitMq::PASSWORD])
        .await
        .unwrap();
    assert_eq!(eval(&rabbitmq, DECLARE).await, "rabbit_quorum_queue");

    assert!(rabbitmq.ctl(&["no_such_command"]).await.is_err());

    rabbitmq.memory_alarm(true).await.unwrap();
    assert!(alarms(&rabbitmq).await.contains("memory"));
    rabbitmq.memory_alarm(false).await.unwrap();
    rabbitmq.disk_alarm(true).await.unwrap();
    assert!(alarms(&rabbitmq).await.contains("disk"));
    rabbitmq.disk_alarm(false).await.unwrap();
    assert_eq!(alarms(&rabbitmq).await, "[]");

    rabbitmq.pause().unwrap();
    assert!(!responds(rabbitmq.addr()));
    rabbitmq.resume().unwrap();
    assert!(responds(rabbitmq.addr()));

    let before = rabbitmq.addr();
    rabbitmq.kill();
    assert_refused(before);
    rabbitmq.restart().await.unwrap();
    assert_eq!(rabbitmq.addr(), before);
    let queues = rabbitmq
        .ctl(&["list_queues", "--silent", "name", "type", "state"])
        .await
        .unwrap();
    assert_eq!(
        queues.split_whitespace().collect::<Vec<_>>(),
        ["kept", "quorum", "running"]
    );

    let footprint = Footprint::of(rabbitmq.server(), before);
    assert!(rabbitmq.stop().await.unwrap().success());
    assert_refused(before);
    drop(rabbitmq);
    footprint.assert_gone();
}
