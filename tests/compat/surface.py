"""The calls of FLARE 2.6 that scripts and jobs use, as data: fedtrack promises to accept them.

Each value is a Python signature. ``NEEDED`` instead of a default means that FLARE requires the argument; fedtrack may
have a default.
"""

from __future__ import annotations

CLIENT = {
    "init": "(rank=None, config_file=None)",
    "receive": "(timeout=None, ctx=None)",
    "send": "(model, clear_cache=True, ctx=None)",
    "is_running": "(ctx=None)",
    "is_train": "(ctx=None)",
    "is_evaluate": "(ctx=None)",
    "is_submit_model": "(ctx=None)",
    "get_site_name": "(ctx=None)",
    "get_job_id": "(ctx=None)",
    "get_task_name": "(ctx=None)",
    "get_config": "(ctx=None)",
    "system_info": "(ctx=None)",
    "clear": "(ctx=None)",
    "shutdown": "(ctx=None)",
    "FLModel": "(params_type=None, params=None, optimizer_params=None, metrics=None, start_round=0, current_round=None,"
    " total_rounds=None, meta=FACTORY)",
}

#: FLARE's ``log`` takes any further keyword, and so do its ``add_scalar`` and ``add_scalars``: a misspelt step is
#: lost without a word there. Here it is a TypeError, which is the one difference that is meant.
WRITERS = {
    "SummaryWriter.add_scalar": "(self, tag, scalar, global_step=None)",
    "SummaryWriter.add_scalars": "(self, tag, scalars, global_step=None)",
    "SummaryWriter.flush": "(self)",
    "MLflowWriter.log_param": "(self, key, value)",
    "MLflowWriter.log_params": "(self, values)",
    "MLflowWriter.log_metric": "(self, key, value, step=None)",
    "MLflowWriter.log_metrics": "(self, metrics, step=None)",
    "MLflowWriter.log_text": "(self, text, artifact_file_path)",
    "MLflowWriter.set_tag": "(self, key, tag)",
    "MLflowWriter.set_tags": "(self, tags)",
    "WandBWriter.log": "(self, metrics, step=None)",
}

LOG = {"log": "(key, value, data_type=NEEDED, ctx=None)"}

JOB = {
    "FedAvgJob": "(initial_model=NEEDED, n_clients=NEEDED, num_rounds=NEEDED, name=OWN)",
    "FedJob": "(name='fed_job', min_clients=OWN, mandatory_clients=None)",
    "FedJob.to": "(self, obj, target, id=None)",
    "FedJob.to_server": "(self, obj, id=None)",
    "FedJob.to_clients": "(self, obj, id=None)",
    "FedJob.export_job": "(self, job_root)",
    "FedJob.simulator_run": "(self, workspace, n_clients=None, clients=None, threads=None, gpu=None, log_config=None)",
    "PTModel": "(model)",
    "ScriptRunner": "(script, script_args='', launch_external_process=False, command='python3 -u',"
    " framework='pytorch')",
    "ConvertToFedEvent": "(events_to_convert=NEEDED, fed_event_prefix='fed.')",
}

RECEIVERS = {
    "MLflowReceiver": "(tracking_uri=None, kw_args=None, artifact_location=None, events=None, buffer_flush_time=1)",
    "WandBReceiver": "(wandb_args=NEEDED, mode='offline', events=None, process_timeout=10.0)",
    "TBAnalyticsReceiver": "(tb_folder='tb_events', events=None)",
}

#: Keywords of calls whose positions nobody uses: FLARE passes them on through ``**kwargs``.
KEYWORDS = {
    "FedAvg": {"num_clients", "num_rounds", "start_round", "persistor_id"},
    "BaseFedJob": {"name", "min_clients", "mandatory_clients", "key_metric", "validation_json_generator"}
    | {"intime_model_selector", "convert_to_fed_event", "analytics_receiver"},
}
