"""The client app of a node."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from digits_app.task import accuracy, load, new_model, train
from fedtrack.client.tracking import SummaryWriter
from fedtrack_flower import fedtrack_mod

app = ClientApp(mods=[fedtrack_mod])


@app.train()
def on_train(message: Message, context: Context) -> Message:
    """Train the global model on this node's images."""
    model = new_model()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    images, _ = load(int(context.node_config["partition-id"]), int(context.node_config["num-partitions"]))
    epochs, round_ = int(context.run_config["local-epochs"]), int(message.content["config"]["server-round"])
    loss = train(model, images, epochs, SummaryWriter(), first_step=(round_ - 1) * epochs * len(images))
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(images.dataset)})
    return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)


@app.evaluate()
def on_evaluate(message: Message, context: Context) -> Message:
    """Evaluate the global model on this node's images."""
    model = new_model()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    _, images = load(int(context.node_config["partition-id"]), int(context.node_config["num-partitions"]))
    metrics = MetricRecord({"accuracy": accuracy(model, images), "num-examples": len(images.dataset)})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
