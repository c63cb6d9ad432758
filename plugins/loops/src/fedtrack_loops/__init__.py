"""fedtrack inside Keras, XGBoost and scikit-learn: one module for each, which imports its library.

::

    from fedtrack_loops.keras import FedtrackCallback
    from fedtrack_loops.xgboost import FedtrackCallback
    from fedtrack_loops.sklearn import log_estimator
"""
