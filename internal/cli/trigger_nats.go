package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
)

var natsTriggers = triggerKind{
	word: "nats", kind: "NATSTrigger",
	one:  func() client.Object { return &kubeless.NATSTrigger{} },
	list: func() client.ObjectList { return &kubeless.NATSTriggerList{} },
}

func newNATSTrigger(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nats",
		Short: "Call functions with the messages of NATS, each at least once",
		Long: `Call functions with the messages of NATS, each at least once: JetStream keeps them
until the function has answered with success.`,
	}
	cmd.AddCommand(
		newNATSCreate(a),
		newNATSUpdate(a),
		newList(a, lister{use: "list [NAME]", short: "List triggers by NATS", kind: "natstrigger", list: natsTriggers.list, table: tableOfNATSTriggers}),
		newTriggerDelete(a, natsTriggers),
		newNATSPublish(),
	)
	return cmd
}

func tableOfNATSTriggers(_ *cobra.Command, c *connection, list client.ObjectList, wide bool) (table, error) {
	t := table{columns: c.column("NAME", "TOPIC", "SELECTOR", "FUNCTIONS", "READY", "REASON")}
	if wide {
		t.columns = append(t.columns, "AGE")
	}
	for _, trigger := range list.(*kubeless.NATSTriggerList).Items {
		s := &trigger.Status
		row := c.row(trigger.Namespace, trigger.Name, trigger.Spec.Topic, metav1.FormatLabelSelector(&trigger.Spec.FunctionSelector),
			orElse(strings.Join(s.Functions, ","), "<none>"), readyColumn(s.Conditions), reasonColumn(s.Conditions))
		if wide {
			row = append(row, age(trigger.CreationTimestamp))
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

// natsWriter writes triggers by NATS, with flags named as Kubeless names them.
type natsWriter struct {
	triggerWriter
	topic, selector, reply string
}

func newNATSWriter(a *app, cmd *cobra.Command) *natsWriter {
	w := &natsWriter{triggerWriter: triggerWriter{clusterFlags: clusterFlags{app: a}, triggerKind: natsTriggers}}
	w.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&w.topic, "trigger-topic", "", "subject of NATS; * is any part of it, and > at its end any further ones")
	flags.StringVar(&w.selector, "function-selector", "", "labels of the functions to call, NAME=VALUE,...; each gets every message")
	flags.StringVar(&w.reply, "reply-topic", "", "subject of NATS for answers that are CloudEvents")
	return w
}

func newNATSCreate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME --trigger-topic TOPIC --function-selector LABELS",
		Short: "Call functions with the messages of a subject",
		Example: `  redoubt trigger nats create paid --trigger-topic orders.paid --function-selector created-by=kubeless,function=invoice
  redoubt trigger nats create all --trigger-topic 'orders.>' --function-selector kubeless.io/function=audit
  redoubt trigger nats create paid --trigger-topic orders.paid --function-selector app=invoice --reply-topic invoices`,
		Args: oneName("trigger"),
	}
	w := newNATSWriter(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t := &kubeless.NATSTrigger{ObjectMeta: metav1.ObjectMeta{Name: args[0]}}
		if err := w.need("paid --trigger-topic orders.paid --function-selector app=invoice", "trigger-topic", "function-selector"); err != nil {
			return err
		}
		if err := w.apply(&t.Spec); err != nil {
			return err
		}
		return w.create(cmd, t, func(*connection) error { return nil })
	}
	return cmd
}

func newNATSUpdate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "update NAME",
		Short:   "Change a trigger as the flags say",
		Example: `  redoubt trigger nats update paid --function-selector app=invoice`,
		Args:    oneName("trigger"),
	}
	w := newNATSWriter(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t := &kubeless.NATSTrigger{}
		return w.update(cmd, args[0], t, func(*connection) error { return w.apply(&t.Spec) })
	}
	cmd.ValidArgsFunction = complete(&w.clusterFlags, natsTriggers.list)
	return cmd
}

// apply changes what the flags name; the API server checks the topic.
func (w *natsWriter) apply(spec *kubeless.NATSTriggerSpec) error {
	if w.set.Changed("trigger-topic") {
		spec.Topic = w.topic
	}
	if w.set.Changed("reply-topic") {
		spec.ReplyTopic = w.reply
	}
	if w.set.Changed("function-selector") {
		selector, err := metav1.ParseToLabelSelector(w.selector)
		if err != nil {
			return usage(fmt.Errorf("--function-selector %q is no selector, as app=invoice: %w", w.selector, err))
		}
		if w.selector == "" {
			return usage(errors.New("--function-selector names no label, and would select every function of the namespace; name one, as app=invoice"))
		}
		spec.FunctionSelector = *selector
	}
	return nil
}

func newNATSPublish() *cobra.Command {
	var url, topic, message string
	cmd := &cobra.Command{
		Use:     "publish --url URL --topic TOPIC --message MESSAGE",
		Short:   "Publish a message",
		Example: `  redoubt trigger nats publish --url nats://127.0.0.1:4222 --topic orders.paid --message '{"order": 7}'`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if url == "" || topic == "" || !cmd.Flags().Changed("message") {
				return usage(errors.New("a message needs --url, --topic and --message, as in: redoubt trigger nats publish --url nats://127.0.0.1:4222 --topic orders.paid --message hello"))
			}
			const patience = 10 * time.Second
			conn, err := nats.Connect(url, nats.Name("redoubt"), nats.Timeout(patience))
			if err != nil {
				return fmt.Errorf("connect to NATS at %s: %w", url, err)
			}
			defer conn.Close()
			if err := conn.Publish(topic, []byte(message)); err != nil {
				return fmt.Errorf("publish to %s: %w", topic, err)
			}
			if err := conn.FlushTimeout(patience); err != nil {
				return fmt.Errorf("publish to %s: %w", topic, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Published to '%s'.\n", topic)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&url, "url", "", "servers, nats://HOST:PORT,...")
	flags.StringVar(&topic, "topic", "", "subject to publish to")
	flags.StringVar(&message, "message", "", "the message")
	return cmd
}
